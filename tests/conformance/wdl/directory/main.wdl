version 1.2
task list {
  input { Directory folder }
  command <<<
    mkdir -p made/below
    ls ~{folder} | sort > made/names
    cat ~{folder}/sub/deep.txt > made/below/deep.txt
  >>>
  output { Directory made = "made"  Array[String] names = read_lines("made/names") }
}
task count {
  input { Directory folder }
  command <<< find ~{folder} -type f | wc -l >>>
  output { Int files = read_int(stdout()) }
}
workflow w {
  input { Directory folder }
  call list { folder }
  call count { folder = list.made }
  output { Directory made = list.made  Array[String] names = list.names  Int files = count.files }
}
