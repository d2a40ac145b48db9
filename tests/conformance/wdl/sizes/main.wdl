version 1.0
task measure {
  input { File file }
  Int bytes = ceil(size(file))
  command <<< echo ~{bytes} >>>
  output { Int bytes_seen = read_int(stdout()) }
  runtime { disks: "local-disk ~{ceil(size(file, 'GB')) + 1} SSD" }
}
workflow w {
  input { File file  File? none }
  call measure { input: file = file }
  output { Int bytes_seen = measure.bytes_seen  Float all = size([file, file])  Float nothing = size(none) }
}
