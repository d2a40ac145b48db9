version 1.1
workflow w {
  output {
    Int precedence = 2 + 3 * 4 - 10 / 3
    Int rest = 10 % 3
    Float half = 1 / 2.0
    Array[Int] rounded = [floor(1.9), ceil(1.1), round(1.5)]
    Array[Float] extremes = [min(1, 2.5), max(1, 2.5)]
    Boolean logic = !(1 == 2) && (3 >= 2 || false)
    String chosen = if 1 < 2 then "less" else "more"
  }
}
