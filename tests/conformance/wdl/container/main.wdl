version 1.1
# Run in a container: the image has a file that this machine has not.
task where {
  command <<< cat /etc/wesgate-test >>>
  output { String told = read_string(stdout()) }
  runtime { container: "wesgate.test/none:1" }
}
workflow w { call where  output { String told = where.told } }
