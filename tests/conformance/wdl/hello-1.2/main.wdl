version 1.2
task hello {
  input { String name = "world" }
  command <<< echo 'hello ~{name}' >>>
  output { String said = read_string(stdout()) }
  requirements { cpu: 1  memory: "64 MiB" }
}
workflow w {
  input { String name = "world" }
  call hello { name }
  output { String said = hello.said }
}
