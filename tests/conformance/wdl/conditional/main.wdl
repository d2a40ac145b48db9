version 1.0
task say {
  input { String word }
  command <<< echo '~{word}' >>>
  output { String said = read_string(stdout()) }
}
workflow w {
  input { Boolean really }
  if (really) { call say as yes { input: word = "yes" } }
  if (!really) { call say as no { input: word = "no" } }
  output {
    String? first = yes.said
    String? second = no.said
    String chosen = select_first([yes.said, no.said])
    Boolean was_run = defined(no.said)
  }
}
