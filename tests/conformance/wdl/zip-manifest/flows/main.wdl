version 1.1
task read { input { File file }  command <<< cat ~{file} >>>  output { String text = read_string(stdout()) } }
workflow w { input { File file }  call read { input: file = file }  output { String text = read.text } }
