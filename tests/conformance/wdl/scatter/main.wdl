version 1.0
task square {
  input { Int n }
  command <<< echo $((~{n} * ~{n})) > out.txt >>>
  output { File squared = "out.txt" }
}
task add {
  input { Array[File] parts }
  command <<< s=0; for n in $(cat ~{sep=" " parts}); do s=$((s + n)); done; echo $s >>>
  output { Int sum = read_int(stdout()) }
}
workflow w {
  input { Int shards }
  scatter (n in range(shards)) { call square { input: n = n } }
  call add { input: parts = square.squared }
  output { Int sum = add.sum  Array[File] parts = square.squared }
}
