version 1.1
task seven { command <<< echo seven; exit 7 >>>  output { String said = read_string(stdout()) }  runtime { returnCodes: [0, 7] } }
task any { command <<< echo any; exit 42 >>>  output { String said = read_string(stdout()) }  runtime { returnCodes: "*" } }
workflow w {
  call seven
  call any
  output { Array[String] said = [seven.said, any.said] }
}
