version 1.0
task maybe {
  input { Boolean there }
  command <<< ~{if there then "echo here > x.txt" else "true"} >>>
  output { File? x = "x.txt"  Array[File?] both = ["x.txt", "y.txt"] }
}
workflow w {
  scatter (there in [true, false]) { call maybe { input: there = there } }
  output { Array[File?] found = maybe.x  Array[Array[File?]] both = maybe.both }
}
