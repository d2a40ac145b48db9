version 1.0
task speak {
  command <<< echo out; echo err >&2 >>>
  output { File out = stdout()  File err = stderr() }
}
task join {
  input { File first  File second }
  command <<< cat ~{first} - < ~{second} >>>
  output { Array[String] lines = read_lines(stdout()) }
}
workflow w {
  call speak
  call join { input: first = speak.out, second = speak.err }
  output { Array[String] lines = join.lines }
}
