version 1.0
task hello {
  input { String name }
  command <<< echo 'hello ~{name}' >>>
  output { String said = read_string(stdout()) }
}
