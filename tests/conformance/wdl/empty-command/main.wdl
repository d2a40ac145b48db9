version 1.0
task nothing { input { Int n }  command <<< >>>  output { Int more = n + 1 } }
workflow w { call nothing { input: n = 1 }  output { Int more = nothing.more } }
