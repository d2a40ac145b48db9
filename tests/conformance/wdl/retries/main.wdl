version 1.2
task third_time {
  command <<< [ ~{task.attempt} -eq 2 ] && echo "at last" || exit 9 >>>
  output { String said = read_string(stdout())  Int attempt = task.attempt }
  requirements { max_retries: 2 }
}
workflow w {
  call third_time
  output { String said = third_time.said  Int attempt = third_time.attempt }
}
