version 1.0
# Writes an index beside its input, as many old tools do.
task index {
  input { File file }
  command <<< wc -c < ~{file} > ~{file}.idx; cat ~{file}.idx >>>
  output { Int bytes = read_int(stdout()) }
}
workflow w { input { File file }  call index { input: file = file }  output { Int bytes = index.bytes } }
