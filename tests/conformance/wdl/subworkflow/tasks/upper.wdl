version 1.0
task upper {
  input { String word }
  command <<< echo '~{word}' | tr a-z A-Z >>>
  output { String up = read_string(stdout()) }
}
