version 1.0
# Fails with code 3; resumed with code 0, it runs its last task alone.
task sort { input { File file }  command <<< sort ~{file} >>>  output { File sorted = stdout() } }
task count { input { File file }  command <<< wc -l < ~{file} >>>  output { Int lines = read_int(stdout()) } }
task last { input { Int lines  Int code }  command <<< echo ~{lines}; exit ~{code} >>>  output { Int seen = read_int(stdout()) } }
workflow w {
  input { File file  Int code }
  call sort { input: file = file }
  call count { input: file = sort.sorted }
  call last { input: lines = count.lines, code = code }
  output { Int lines = last.seen }
}
