version 1.0
# Files of one folder stay together: an index is found beside its file.
task both {
  input { File data  File index }
  command <<< [ "$(dirname ~{data})" = "$(dirname ~{index})" ] && cat ~{data}.idx >>>
  output { String text = read_string(stdout()) }
}
workflow w {
  input { File data  File index }
  call both { input: data = data, index = index }
  output { String text = both.text }
}
