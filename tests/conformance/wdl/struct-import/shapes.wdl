version 1.1
struct Box { Int width  Int height }
task area {
  input { Box box }
  command <<< echo $((~{box.width} * ~{box.height})) >>>
  output { Int result = read_int(stdout()) }
}
