version 1.0
task ask {
  input { Int cores = 1 }
  command <<< echo asked >>>
  output { String said = read_string(stdout()) }
  runtime { cpu: cores  memory: "~{64 * cores} MiB"  disks: "local-disk 1 SSD" }
}
workflow w { call ask  output { String said = ask.said } }
