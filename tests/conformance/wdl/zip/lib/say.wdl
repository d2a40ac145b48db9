version 1.0
task say { input { String word }  command <<< echo '~{word}' >>>  output { String said = read_string(stdout()) } }
