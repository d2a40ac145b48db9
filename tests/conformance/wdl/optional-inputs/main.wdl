version 1.0
task say {
  input { String? name  Int times = 2  File? file }
  command <<<
    for i in $(seq ~{times}); do echo '~{default="nobody" name}'; done
    ~{"cat " + file}
  >>>
  output { Array[String] lines = read_lines(stdout()) }
}
workflow w {
  input { String? name  File? file  Int? times }
  call say as plain
  call say as full { input: name = name, file = file, times = select_first([times, 1]) }
  output { Array[String] nothing = plain.lines  Array[String] all = full.lines  Boolean given = defined(name) }
}
