version 1.0
task first { command <<< echo first >>>  output { String said = read_string(stdout()) } }
task second {
  input { String word }
  command <<< echo 'second ~{word}' >>>
  output { String said = read_string(stdout()) }
}
