version 1.1
workflow w {
  Array[String] words = ["a b", "c"]
  output {
    String replaced = sub("chr1.bam", "\\.bam$", ".bai")
    String base = basename("/x/y/reads.fastq.gz", ".fastq.gz")
    String joined = sep(", ", words)
    Array[String] before = prefix("-i ", words)
    Array[String] after = suffix(".txt", words)
    Array[String] quoted = quote(words)
    Array[String] single = squote([1, 2])
    String escaped = "tab\tend ~{'in' + "side"} \u00e9"
  }
}
