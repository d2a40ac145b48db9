version 1.0
task read { input { File file }  command <<< cat ~{file} >>>  output { String text = read_string(stdout()) } }
workflow w {
  input { String web }
  File literal = web + "/from-web.txt"
  call read { input: file = literal }
  output { String text = read.text }
}
