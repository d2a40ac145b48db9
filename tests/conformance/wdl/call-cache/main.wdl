version 1.0
# Two calls of the same task with the same inputs: the second may be answered from the call cache.
task now { command <<< date +%s%N >>>  output { String time = read_string(stdout()) } }
task wait { input { String after }  command <<< true >>>  output { String word = "x" } }
workflow w {
  call now as first
  call wait { input: after = first.time }
  if (wait.word == "x") { call now as second }
  output { Boolean same = first.time == select_first([second.time]) }
}
