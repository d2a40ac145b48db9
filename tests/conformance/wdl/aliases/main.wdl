version 1.1
task write { input { String word }  command <<< echo ~{word} > ~{word}.txt >>>  output { File made = "~{word}.txt" } }
task nothing { command <<< true >>> }
workflow w {
  call write as first { input: word = "one" }
  call nothing after first
  call write as second after nothing { input: word = "two" }
  output { Array[File] made = [first.made, second.made] }
}
