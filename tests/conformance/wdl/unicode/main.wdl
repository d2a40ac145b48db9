version 1.0
# Names with spaces, quotes and letters of other alphabets, in files, texts and outputs.
task copy {
  input { File file  String word }
  command <<<
    mkdir 'sous dossier'
    cat '~{file}' > 'sous dossier/la sortie é.txt'
    echo '~{word}' >> 'sous dossier/la sortie é.txt'
  >>>
  output { File made = "sous dossier/la sortie é.txt" }
}
workflow w {
  input { Array[File] files  String word }
  scatter (file in files) { call copy { input: file = file, word = word } }
  output { Array[File] made = copy.made  Array[String] names = [basename(copy.made[0]), basename(files[0], ".txt")] }
}
