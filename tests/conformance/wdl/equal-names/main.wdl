version 1.0
task join {
  input { Array[File] files }
  command <<< cat ~{sep=" " files} >>>
  output { Array[String] lines = read_lines(stdout()) }
}
workflow w { input { Array[File] files }  call join { input: files = files }  output { Array[String] lines = join.lines } }
