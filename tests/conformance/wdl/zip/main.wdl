version 1.0
import "lib/say.wdl" as lib
workflow w {
  input { String word = "zipped" }
  call lib.say { input: word = word }
  output { String said = say.said }
}
