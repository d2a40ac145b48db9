version 1.0
task read {
  input { Array[String] lines  Map[String, String] named  Array[Array[String]] table }
  command <<<
    cat ~{write_lines(lines)} | wc -l
    sort ~{write_map(named)} | cut -f 2
    cut -f 2 ~{write_tsv(table)}
    cat ~{write_json(named)} > made.json
    printf 'x\t1\ny\t2\n' > made.tsv
  >>>
  output {
    Array[String] said = read_lines(stdout())
    Map[String, String] json = read_json("made.json")
    Array[Array[String]] tsv = read_tsv("made.tsv")
    Map[String, Int] map = read_map("made.tsv")
  }
}
workflow w {
  call read { input: lines = ["a", "b"], named = { "k": "v", "l": "w" }, table = [["a", "b"], ["c", "d"]] }
  output {
    Array[String] said = read.said
    Map[String, String] json = read.json
    Array[Array[String]] tsv = read.tsv
    Map[String, Int] map = read.map
  }
}
