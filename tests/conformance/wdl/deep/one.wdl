version 1.0
import "two.wdl" as two
workflow level {
  input { Int n }
  scatter (i in range(n)) { if (i > 0) { call two.sums { input: n = i } } }
  call two.add { input: numbers = select_all(sums.result) }
  output { Int result = add.sum }
}
