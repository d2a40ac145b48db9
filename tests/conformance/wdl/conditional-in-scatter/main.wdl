version 1.0
task double {
  input { Int n }
  command <<< echo $((2 * ~{n})) >>>
  output { Int doubled = read_int(stdout()) }
}
workflow w {
  scatter (n in range(5)) {
    if (n % 2 == 0) { call double { input: n = n } }
  }
  output { Array[Int?] holes = double.doubled  Array[Int] packed = select_all(double.doubled) }
}
