version 1.2
task show {
  input { String text }
  command <<<
    cat <<'END'
    ~{text}
    END
  >>>
  output { Array[String] lines = read_lines(stdout()) }
}
workflow w {
  String text = <<<
    first
      second ~{1 + 1}
  >>>
  call show { text = "one" }
  output { String kept = text  Array[String] shown = show.lines }
}
