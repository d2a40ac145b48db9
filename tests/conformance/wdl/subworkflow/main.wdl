version 1.0
import "lib/shout.wdl" as lib
workflow w {
  input { Array[String] words }
  scatter (word in words) { call lib.shout { input: word = word } }
  call lib.shout as once { input: word = "once", mark = "?" }
  output { Array[String] loud = shout.loud  String other = once.loud }
}
