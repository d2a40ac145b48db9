version 1.2
workflow w {
  output {
    Array[Array[Int]] chunks = chunk([1, 2, 3, 4, 5], 2)
    Boolean in_it = contains([1, 2], 2)
    Boolean has_key = contains_key({ "a": 1 }, "a")
    Array[Int] values_of = values({ "a": 1, "b": 2 })
    String? found = find("hello world", "w[a-z]+")
    Boolean fits = matches("sample_1.fastq", "fastq$")
    String path = join_paths(["/a", "b", "c.txt"])
  }
}
