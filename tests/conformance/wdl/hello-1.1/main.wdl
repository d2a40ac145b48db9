version 1.1
task hello {
  input { String name = "world" }
  command <<< echo 'hello ~{name}' >>>
  output { String said = read_string(stdout()) }
}
workflow w {
  input { String name = "world" }
  call hello { input: name }
  output { String said = hello.said }
}
