version 1.0
task never { command <<< echo never >>>  output { String said = read_string(stdout()) } }
workflow w {
  scatter (n in range(0)) { call never }
  output { Array[String] said = never.said  Int many = length(never.said) }
}
