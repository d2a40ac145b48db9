# What old pipelines are written in: declarations between calls, "as" and default=, sep=, true= options.
task show {
  Array[String] words
  Boolean loud
  String? name
  command {
    echo "${sep=' ' words} ${true='!' false='.' loud} ${default='nobody' name}"
  }
  output { String said = read_string(stdout()) }
  runtime { docker: "ubuntu:22.04" }
}
workflow w {
  Array[String] words = ["a", "b"]
  scatter (loud in [true, false]) { call show { input: words = words, loud = loud } }
  call show as named { input: words = show.said, loud = true, name = "me" }
  output { Array[String] said = show.said  String last = named.said }
}
