version 1.0
task pair {
  input { String letter  Int number }
  command <<< echo '~{letter}~{number}' >>>
  output { String text = read_string(stdout()) }
}
workflow w {
  input { Array[String] letters  Array[Int] numbers }
  scatter (letter in letters) {
    scatter (number in numbers) { call pair { input: letter = letter, number = number } }
  }
  scatter (both in cross(letters, numbers)) { String crossed = both.left + both.right }
  output {
    Array[Array[String]] text = pair.text
    Array[String] flat = flatten(pair.text)
    Array[String] same = crossed
  }
}
