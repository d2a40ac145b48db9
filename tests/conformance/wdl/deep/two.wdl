version 1.0
task add {
  input { Array[Int] numbers }
  command <<< echo $((0 ~{if length(numbers) > 0 then "+" else ""} ~{sep=" + " numbers})) >>>
  output { Int sum = read_int(stdout()) }
}
workflow sums {
  input { Int n }
  call add { input: numbers = range(n + 1) }
  output { Int result = add.sum }
}
