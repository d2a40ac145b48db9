version 1.0
workflow w {
  Int one = 1
  Array[Int] many = one
  Boolean sum = one + "x"
}
