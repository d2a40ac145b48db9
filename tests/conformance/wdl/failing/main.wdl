version 1.0
task fail {
  command <<< echo "the reference is missing" >&2; exit 7 >>>
  output { String said = read_string(stdout()) }
}
workflow w { call fail }
