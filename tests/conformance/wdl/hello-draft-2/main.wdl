# No version line means draft-2: placeholders are ${} only, and inputs are plain declarations.
task hello {
  String name = "world"
  command { echo 'hello ${name}' }
  output { String said = read_string(stdout()) }
}
workflow w {
  String name
  call hello { input: name = name }
  output { String said = hello.said }
}
