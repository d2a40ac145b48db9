version 1.0
task make {
  command <<<
    mkdir parts
    for n in 3 1 2; do echo "part $n" > parts/$n.txt; done
    echo other > parts/other.log
  >>>
  output { Array[File] parts = glob("parts/*.txt")  Array[File] none = glob("nothing/*") }
}
workflow w {
  call make
  output { Array[File] parts = make.parts  Int none = length(make.none) }
}
