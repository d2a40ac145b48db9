version 1.0
import "../tasks/upper.wdl" as tasks
workflow shout {
  input { String word  String mark = "!" }
  call tasks.upper { input: word = word }
  output { String loud = upper.up + mark }
}
