"""Small workflows that need nothing but a shell."""

HELLO = """version 1.0
task hello {
  input { String name = "world" }
  command <<< echo "hello ~{name}"; echo noise >&2 >>>
  output { String said = read_string(stdout()) }
}
workflow greet {
  input { String name = "world" }
  call hello { input: name = name }
  output { String said = hello.said }
}
"""

SCATTER = """version 1.0
task square {
  input { Int n }
  command <<< echo $((~{n} * ~{n})) > out.txt >>>
  output { File squared = "out.txt" }
}
task add {
  input { Array[File] parts }
  command <<< cat ~{sep=" " parts} | awk '{ s += $1 } END { print s }' >>>
  output { Int sum = read_int(stdout()) }
}
workflow squares {
  input { Int shards = 3 }
  scatter (n in range(shards)) { call square { input: n = n } }
  call add { input: parts = square.squared }
  output { Int sum = add.sum
           Array[File] parts = square.squared }
}
"""

FAIL = """version 1.0
task fail {
  command <<< echo "the reference is missing" >&2; exit 7 >>>
  output { String x = read_string(stdout()) }
}
workflow w { call fail }
"""

READ = """version 1.0
task read {
  input { File file }
  command <<< cat "~{file}" >>>
  output { String content = read_string(stdout()) }
}
workflow w {
  input { File file }
  call read { input: file = file }
  output { String content = read.content }
}
"""

SLOW = """version 1.0
task slow {
  input { String log  String gate  Array[String] words }
  command <<<
    echo started >> ~{log}
    cat ~{gate}
    mkdir out; cat ~{write_lines(words)} > out/words
  >>>
  output { Array[String] kept = read_lines("out/words") }
}
workflow w {
  input { String log  String gate }
  call slow { input: log = log, gate = gate, words = ["a", "b"] }
  output { Array[String] kept = slow.kept }
}
"""

INNER = """version 1.2
struct Sample { String name  File reads }
task count {
  input { Directory folder  Sample sample }
  command <<< ls ~{folder} | wc -l; cat ~{sample.reads}; wc -l < ~{write_lines([sample.name, "x"])} >>>
  output { Array[String] lines = read_lines(stdout())  File? none = "none.txt"  File same = sample.reads }
}
workflow inner {
  input { Directory folder  Sample sample }
  call count { input: folder = folder, sample = sample }
  output { Array[String] lines = count.lines  File same = count.same }
}
"""

OUTER = """version 1.2
import "sub/inner.wdl" as lib
workflow outer {
  input { Directory folder  Array[Sample] samples }
  scatter (sample in samples) { call lib.inner { input: folder = folder, sample = sample } }
  output { Array[Array[String]] lines = inner.lines  Array[File] same = inner.same }
}
"""
