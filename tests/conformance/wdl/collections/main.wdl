version 1.1
workflow w {
  Map[String, Int] ages = { "a": 1, "b": 2 }
  Pair[Int, String] both = (1, "one")
  output {
    Array[String] names = keys(ages)
    Array[Pair[String, Int]] pairs = as_pairs(ages)
    Map[String, Int] again = as_map([("x", 1), ("y", 2)])
    Map[String, Array[Int]] grouped = collect_by_key([("a", 1), ("b", 2), ("a", 3)])
    Int b = ages["b"]
    String one = both.right
    Array[Pair[Int, String]] zipped = zip([1, 2], ["a", "b"])
    Pair[Array[Int], Array[String]] unzipped = unzip([(1, "a"), (2, "b")])
    Array[Array[Int]] turned = transpose([[1, 2], [3, 4]])
    Int many = length(flatten([[1], [2, 3], []]))
  }
}
