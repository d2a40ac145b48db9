version 1.0
import "one.wdl" as one
workflow w { input { Int n }  call one.level { input: n = n }  output { Int result = level.result } }
