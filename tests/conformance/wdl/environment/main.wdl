version 1.2
task show {
  input { env String greeting  String name }
  command <<< echo "$greeting ~{name}" >>>
  output { String said = read_string(stdout()) }
}
workflow w {
  call show { greeting = "it's \"quoted\" & $HOME", name = "you" }
  output { String said = show.said }
}
