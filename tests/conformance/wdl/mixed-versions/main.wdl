version 1.1
import "old.wdl" as old
workflow w {
  call old.hello { input: name = "imported" }
  output { String said = hello.said }
}
