version 1.0
task one {
  input { Int n }
  command <<< echo ~{n} >>>
  output { Int same = read_int(stdout()) }
}
workflow w {
  input { Int shards }
  scatter (n in range(shards)) { call one { input: n = n } }
  output { Array[Int] all = one.same }
}
