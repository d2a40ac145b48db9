version 1.0
task nothing { command <<< true >>>  output { File made = "none.txt" } }
workflow w { call nothing  output { File made = nothing.made } }
